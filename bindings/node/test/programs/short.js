'use strict'
// Ends in the moment in which the last job reports back.

const { open } = require('atomkv')

const database = open(process.argv[2])
database.table('t').promises.put('k', 'v')
database.close()
