// The protocols of net/, in every order of their steps up to a bound.
import { describeModels } from '../testing/models.ts'

describeModels(import.meta.url, ['neigh'])
