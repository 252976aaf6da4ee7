import { AbstractDatabaseOptions, AbstractLevel } from 'abstract-level'
import { Database } from './index.js'

export interface AtomLevelOptions<K, V> extends AbstractDatabaseOptions<K, V> {
  /** A database that is open; else the location is opened, and closed with this. */
  database?: Database
  /** The table; `level` unless told. */
  table?: string
}

/** An abstract-level database on an ordered table. */
export class AtomLevel<K = string, V = string> extends AbstractLevel<string | Buffer | Uint8Array, K, V> {
  constructor(location: string, options?: AtomLevelOptions<K, V>)
  readonly location: string
}
