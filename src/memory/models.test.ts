// Every protocol of this folder, in every order of its steps up to a bound; every broken twin must be caught.
import { describeModels } from '../testing/models.ts'

describeModels(import.meta.url, ['pool', 'structures', 'threads'])
