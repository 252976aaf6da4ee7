/// <reference types="node" />

import { Readable, ReadableOptions, Writable } from 'node:stream'

/** What a write became: unique for ever; may be given as `expect` of a later write. */
export interface Written {
  /** The key's own counter: 1 at creation, one more at each change. */
  version: number
  /** The number of the commit in the whole database. */
  sequence: number
}

export interface Entry<V> extends Written {
  value: V
  timeMs: number
  expiresAt: number | undefined
}

export interface Version<V> extends Written {
  /** `undefined` for a deletion. */
  value: V | undefined
  timeMs: number
  expiresAt: number | undefined
}

export type Durability = 'buffered' | 'sync'
export type Expect = 'absent' | 'present' | { version: number } | { sequence: number }

/** What must be there; one of them. */
export interface Condition {
  expect?: Expect
  ifVersion?: number
  ifSequence?: number
  ifNoExists?: boolean
  ifExists?: boolean
}

/** When a document expires; one of them, else what the table says. */
export interface Expiry {
  /** Milliseconds from now, or `'never'` in spite of what the table says. */
  ttl?: number | 'never'
  /** A date, or milliseconds since 1970. */
  expiresAt?: number | Date
}

/** Of a commit: what is not told is what its tables have. */
export interface CommitOptions {
  durability?: Durability
}

export interface DeleteOptions extends Condition, CommitOptions {}
export interface WriteOptions extends Condition, Expiry, CommitOptions {}

export interface OpenOptions {
  createIfMissing?: boolean
  /** `false`: a device error is an error, not a signal; somewhat slower. */
  mapped?: boolean
  background?: boolean
  verifyChecksums?: boolean
  /** Beside the process that writes, at one moment; `refresh` follows. */
  readOnly?: boolean
  skipDamagedLog?: boolean
  reapExpired?: boolean
  syncIntervalMs?: number
  syncBytes?: number
  segmentBytes?: number
  checkpointBytes?: number
  deadRatio?: number
  largeValueBytes?: number
  compactionRate?: number
  feedBytes?: number
}

export type Bytes = Uint8Array
/** A part of an ordered key. */
export type OrderedKey = null | boolean | number | string | Uint8Array | OrderedKey[]
export type KeyEncoding = 'utf8' | 'string' | 'binary' | 'number' | 'ordered'
export type ValueEncoding = 'binary' | 'utf8' | 'string' | 'json'

/** An encoding of your own; its name is stored with the table. */
export interface CustomEncoding<V, N extends string = string> {
  name: N
  encode(value: V): Uint8Array | string
  decode(bytes: Buffer): V
}

export interface KeyTypes {
  utf8: { in: string, out: string }
  string: { in: string, out: string }
  binary: { in: string | Uint8Array, out: Buffer }
  number: { in: number, out: number }
  ordered: { in: OrderedKey, out: OrderedKey }
}

export interface ValueTypes {
  binary: { in: string | Uint8Array, out: Buffer }
  utf8: { in: string, out: string }
  string: { in: string, out: string }
}

export interface TableOptions {
  partitions?: number
  autoPartitions?: boolean
  /** Scans are sorted, ranges are cheap. */
  ordered?: boolean
  durability?: Durability
  /** Milliseconds until documents expire. */
  ttl?: number
  /** How many versions are kept, all, or for how long. */
  retention?: number | 'all' | { ms: number }
  hasher?: string
  sharder?: string
  validator?: string
  compressor?: 'none' | 'lz4' | 'gzip'
  keyEncoding?: KeyEncoding
  valueEncoding?: ValueEncoding | CustomEncoding<any>
}

/** One lower and one upper end. */
export interface RangeOptions<K> {
  gt?: K
  gte?: K
  lt?: K
  lte?: K
  /** As lmdb-js has them: from `start` to before `end`, in the direction of going. */
  start?: K
  end?: K
  prefix?: K
  /** Only of ordered tables. */
  reverse?: boolean
  limit?: number
  contains?: string | Uint8Array
  glob?: string | Uint8Array
}

/** Of a scan that gives only keys or values. */
export interface PartOptions<K> extends RangeOptions<K> {
  /** The token of an earlier page. */
  after?: Uint8Array
  paged?: boolean
}

export interface ScanOptions<K> extends PartOptions<K> {
  versions?: boolean
}

export interface Item<K, V> {
  key: K
  value: V
  /** With the option `versions`. */
  version?: number
  sequence?: number
}

/** Lazy; sync and async iterable; each iteration begins anew and sees one moment. */
export interface Range<T> extends Iterable<T>, AsyncIterable<T> {
  map<U>(f: (item: T) => U): Range<U>
  filter(f: (item: T) => boolean): Range<T>
  forEach(f: (item: T) => void): void
  toArray(): T[]
  readonly asArray: T[]
  count(): number
  page(): { items: T[], token: Buffer | undefined }
}

export type MergeOperation =
  | { addInteger: number | bigint }
  | { addDecimal: number | bigint | string }
  | { append: string | Uint8Array }
  /** Bytes are the text of a patch, anything else is the patch. */
  | { jsonMergePatch: unknown }

export type Operation<K, V> =
  | ({ type?: 'put', table?: Table<any, any, any, any>, key: K, value: V } & Condition & Expiry)
  | ({ type: 'delete' | 'del', table?: Table<any, any, any, any>, key: K } & Condition)
  | { type: 'expect', table?: Table<any, any, any, any>, key: K, expect: Expect }

export class Table<KI = string, KO = string, VI = string | Uint8Array, VO = Buffer> {
  private constructor()
  readonly database: Database
  readonly name: string
  readonly durability: Durability
  readonly keyEncoding: string
  readonly valueEncoding: string
  /** The same with promises; writes of one turn of the loop become one commit. */
  readonly promises: TablePromises<KI, VI, VO>
  /** How many keys. */
  readonly length: number
  get(key: KI): VO | undefined
  getEntry(key: KI): Entry<VO> | undefined
  /** Copies as many bytes as there is room for; the length of the value, or -1. */
  getInto(key: KI, target: Uint8Array): number
  has(key: KI): boolean
  getMany(keys: Iterable<KI>): Array<VO | undefined>
  put(key: KI, value: VI, options?: WriteOptions): Written
  putIf(key: KI, value: VI, expect: Expect, options?: Expiry & CommitOptions): Written
  putIfChanged(key: KI, value: VI): Written & { unchanged: boolean }
  delete(key: KI, options?: DeleteOptions): Written | undefined
  putMany(entries: Iterable<readonly [KI, VI]>, options?: CommitOptions): number | undefined
  batch(): Batch
  batch(operations: Iterable<Operation<KI, VI>>, options?: CommitOptions): number | undefined
  update(key: KI, f: (value: VO | undefined) => VI | undefined): Written | undefined
  merge(key: KI, operation: MergeOperation): Written & { value: VO }
  setExpiry(key: KI, options: WriteOptions): Written | undefined
  history(key: KI): Array<Version<VO>>
  getVersion(key: KI, version: number): Version<VO>
  getAt(key: KI, sequence: number): Version<VO> | undefined
  scan(options?: ScanOptions<KI>): Range<Item<KO, VO>>
  range(options?: ScanOptions<KI>): Range<Item<KO, VO>>
  getRange(options?: ScanOptions<KI>): Range<Item<KO, VO>>
  entries(options?: ScanOptions<KI>): Range<Item<KO, VO>>
  prefix(prefix: KI, options?: Omit<ScanOptions<KI>, 'prefix'>): Range<Item<KO, VO>>
  keys(options?: PartOptions<KI>): Range<KO>
  getKeys(options?: PartOptions<KI>): Range<KO>
  values(options?: PartOptions<KI>): Range<VO>
  [Symbol.iterator](): Iterator<Item<KO, VO>>
  [Symbol.asyncIterator](): AsyncIterator<Item<KO, VO>>
  watch(options?: Omit<WatchOptions<KI>, 'table' | 'tables'>): Watch<KO, VO>
  createReadStream(key: KI, options?: ReadStreamOptions): Readable
  createWriteStream(key: KI, options?: WriteOptions & { signal?: AbortSignal, highWaterMark?: number }): WriteStream
  resize(partitions: number): Promise<ResizeReport>
  stats(): Record<string, unknown>
}

export interface ReadStreamOptions extends Pick<ReadableOptions, 'signal' | 'highWaterMark'> {
  start?: number
  /** Exclusive. */
  end?: number
}

export interface WriteStream extends Writable {
  /** When it has finished. */
  readonly written: Written | undefined
}

/** Only what may fail alone, a condition or a moment of expiry, is a commit of its own; so are the lists of `putMany` and `batch`. */
export interface TablePromises<KI, VI, VO> {
  /** Resolves with the sequence of the commit. */
  put(key: KI, value: VI, options?: WriteOptions): Promise<number>
  putIf(key: KI, value: VI, expect: Expect, options?: Expiry & CommitOptions): Promise<number>
  delete(key: KI, options?: DeleteOptions): Promise<number | undefined>
  /** In the order of the calls, on a thread: the value is copied, however long, and later writes wait for it. */
  setExpiry(key: KI, options: WriteOptions): Promise<Written | undefined>
  get(key: KI): Promise<VO | undefined>
  getEntry(key: KI): Promise<Entry<VO> | undefined>
  has(key: KI): Promise<boolean>
  getMany(keys: Iterable<KI>): Promise<Array<VO | undefined>>
  putMany(entries: Iterable<readonly [KI, VI]>, options?: CommitOptions): Promise<number | undefined>
  batch(operations: Iterable<Operation<KI, VI>>, options?: CommitOptions): Promise<number | undefined>
}

export class Batch {
  private constructor()
  readonly count: number
  put<KI, VI>(table: Table<KI, any, VI, any>, key: KI, value: VI, options?: Condition & Expiry): this
  delete<KI>(table: Table<KI, any, any, any>, key: KI, options?: Condition): this
  expect<KI>(table: Table<KI, any, any, any>, key: KI, expect: Expect): this
  clear(): this
  /** The batch is empty then, unless this throws; an empty one is an error. */
  write(options?: CommitOptions): number | undefined
  /** Behind the queued writes of before. The batch is empty as soon as this returns, whatever becomes of the promise. */
  writeAsync(options?: CommitOptions): Promise<number | undefined>
}

declare class View {
  readonly isOpen: boolean
  readonly sequence: number
  get<KI, VO>(table: Table<KI, any, any, VO>, key: KI): VO | undefined
  has<KI>(table: Table<KI, any, any, any>, key: KI): boolean
  getMany<KI, VO>(table: Table<KI, any, any, VO>, keys: Iterable<KI>): Array<VO | undefined>
  close(): void
  [Symbol.dispose](): void
}

export class Snapshot extends View {
  private constructor()
  readonly timeMs: number
  getEntry<KI, VO>(table: Table<KI, any, any, VO>, key: KI): Entry<VO> | undefined
  scan<KI, KO, VO>(table: Table<KI, KO, any, VO>, options?: ScanOptions<KI>): Range<Item<KO, VO>>
  keys<KI, KO>(table: Table<KI, KO, any, any>, options?: PartOptions<KI>): Range<KO>
  values<KI, VO>(table: Table<KI, any, any, VO>, options?: PartOptions<KI>): Range<VO>
  createReadStream<KI>(table: Table<KI, any, any, any>, key: KI, options?: ReadStreamOptions): Readable
}

export class Transaction extends View {
  private constructor()
  put<KI, VI>(table: Table<KI, any, VI, any>, key: KI, value: VI, options?: Condition & Expiry): void
  delete<KI>(table: Table<KI, any, any, any>, key: KI, options?: Condition): void
  scan<KI, KO, VO>(table: Table<KI, KO, any, VO>, options?: RangeOptions<KI>): Array<Item<KO, VO>>
  keys<KI, KO>(table: Table<KI, KO, any, any>, options?: RangeOptions<KI>): KO[]
  commit(options?: CommitOptions): number | undefined
  commitAsync(options?: CommitOptions): Promise<number | undefined>
  abort(): void
}

export interface WatchOptions<K> {
  table?: Table<any, any, any, any>
  tables?: Array<Table<any, any, any, any>>
  prefix?: K
  /** Begin with the commit that has this sequence. */
  from?: number
  /** First what is there now. */
  stateFirst?: boolean
  signal?: AbortSignal
}

export interface Change<K, V> extends Written {
  table: string
  kind: 'put' | 'delete' | 'state'
  key: K
  value: V | undefined
  timeMs: number
  expiresAt: number | undefined
  superseded: boolean
  lastOfCommit: boolean
}

export class Watch<K = unknown, V = unknown> implements AsyncIterableIterator<Change<K, V>> {
  private constructor()
  /** What there is by now. */
  take(): Array<Change<K, V>>
  next(): Promise<IteratorResult<Change<K, V>, undefined>>
  return(): Promise<IteratorResult<Change<K, V>, undefined>>
  /** Where another watch goes on, as `from`; 0 while the state is told, which cannot be taken up in the middle. */
  readonly resumeFrom: number
  close(): void
  [Symbol.asyncIterator](): this
  [Symbol.asyncDispose](): Promise<IteratorResult<Change<K, V>, undefined>>
}

export interface Progress {
  bytes: number
  /** 0 if nobody knows. */
  bytesTotal: number
  records: number
  elapsedMs: number
}

export interface CareOptions {
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

export interface ResizeReport { from: number, to: number, bytesWritten: number, elapsedMs: number, writersWaitedMs: number }
export interface CompactionReport {
  segmentsRemoved: number, segmentsWritten: number, recordsMoved: number, segmentsDamaged: number, bytesBefore: number, bytesAfter: number
}
export interface BackupReport { sequence: number, files: number, filesKept: number, filesLinked: number, bytes: number, bytesCopied: number }
export interface RestoreReport { sequence: number, takenMs: number, files: number, bytes: number }
export interface Damage { file: string, offset: number, detail: string, table: string | null, keyBytes: number[] | null }
export interface VerifyReport {
  isClean: boolean, files: number, records: number, bytes: number, keys: number, damageCount: number, damages: Damage[]
  uncleanEnd: { file: string, offset: number, bytesBehind: number, recordsToReplay: number, lostFromSequence: number | null } | null
  unnamedFiles: string[]
}

type KeyOf<O> = O extends { keyEncoding: infer E extends KeyEncoding } ? KeyTypes[E] : KeyTypes['utf8']
type ValueIn<O, J> = O extends { valueEncoding: CustomEncoding<infer V> } ? V
  : O extends { valueEncoding: 'json' } ? J
    : O extends { valueEncoding: infer E extends keyof ValueTypes } ? ValueTypes[E]['in'] : ValueTypes['binary']['in']
type ValueOut<O, J> = O extends { valueEncoding: CustomEncoding<infer V> } ? V
  : O extends { valueEncoding: 'json' } ? J
    : O extends { valueEncoding: infer E extends keyof ValueTypes } ? ValueTypes[E]['out'] : ValueTypes['binary']['out']

export class Database {
  private constructor()
  readonly path: string
  readonly isOpen: boolean
  /** Opens a table; creates it if it is not there. */
  table(name: string): Table
  table<const O extends TableOptions>(name: string, options: O): Table<KeyOf<O>['in'], KeyOf<O>['out'], ValueIn<O, any>, ValueOut<O, any>>
  tables(): string[]
  batch(): Batch
  snapshot(): Snapshot
  begin(): Transaction
  transaction<R>(f: (transaction: Transaction) => R, options?: CommitOptions): R
  transactionAsync<R>(f: (transaction: Transaction) => R | Promise<R>, options?: CommitOptions): Promise<R>
  watch(options?: WatchOptions<any>): Watch
  /** Everything written so far is on stable storage. */
  sync(): Promise<void>
  readonly flushed: Promise<void>
  /** Queued writes are committed. */
  readonly committed: Promise<void>
  checkpoint(): Promise<void>
  compact(options?: CareOptions): Promise<CompactionReport>
  verify(options?: CareOptions & { threads?: number, damagesMax?: number }): Promise<VerifyReport>
  backup(destination: string | URL, options?: CareOptions & { link?: boolean, verify?: boolean }): Promise<BackupReport>
  stats(): Record<string, unknown>
  refresh(): Promise<Database | undefined>
  /** Commits what is queued first. */
  close(): Promise<void>
  /** At once: promises of writes that are queued still are rejected. So does `using`; `await using` is `close`. */
  closeSync(): void
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

export function open(path: string | URL, options?: OpenOptions): Database
export function openAsync(path: string | URL, options?: OpenOptions): Promise<Database>
export function inMemory(): Database
export function restore(source: string | URL, destination: string | URL, options?: CareOptions & { verify?: boolean }): Promise<RestoreReport>
export function verify(path: string | URL, options?: CareOptions & { threads?: number, damagesMax?: number }): Promise<VerifyReport>

/** `code` is stable: `ATOMKV_` and a name. */
export class AtomKVError extends Error { readonly code: string }
export class ConflictError extends AtomKVError {
  readonly table: string
  readonly key: Buffer
  readonly found: Written | null
}
export class LockedError extends AtomKVError { readonly path: string; readonly pid: number | null }
export class CorruptError extends AtomKVError { readonly file: string; readonly offset: number }
export class ClosedError extends AtomKVError {}
export class ReadOnlyError extends AtomKVError {}
export class NoSpaceError extends AtomKVError { readonly path: string }
export class CompactedError extends AtomKVError { readonly oldest: number }
export class InvalidArgumentError extends AtomKVError {}
export class MismatchError extends AtomKVError {}
export class EncodingError extends AtomKVError {}
export class AbortError extends AtomKVError {}
