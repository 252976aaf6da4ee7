export * from './index.js'
import * as atomkv from './index.js'
export default atomkv
