// Every protocol of this folder, in every order of its steps up to a bound; every broken twin must be caught.
import { describeModels } from '../testing/models.ts'

await describeModels(import.meta.url, ['neigh_hash_entry', 'route_entry', 'attach', 'settle'])
