'use strict'

const { Database, open, openAsync, inMemory, restore, verify } = require('./lib/database')
const { Table } = require('./lib/table')
const { Batch } = require('./lib/batch')
const { Snapshot, Transaction } = require('./lib/views')
const { Watch } = require('./lib/watch')
const { make, fromNative, wrongType, ...errors } = require('./lib/errors')

module.exports = { open, openAsync, inMemory, restore, verify, Database, Table, Batch, Snapshot, Transaction, Watch, ...errors }
