import { describeModels } from '../testing/models.ts'

await describeModels(import.meta.url, ['mask_table', 'join'])
