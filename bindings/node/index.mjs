import atomkv from './index.js'

export const {
  open, openAsync, inMemory, restore, verify, Database, Table, Batch, Snapshot, Transaction, Watch,
  AtomKVError, ConflictError, LockedError, CorruptError, ClosedError, ReadOnlyError, NoSpaceError, CompactedError,
  InvalidArgumentError, MismatchError, EncodingError, AbortError
} = atomkv
export default atomkv
