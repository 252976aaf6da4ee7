import test from 'node:test'
import assert from 'node:assert'
import { createRequire } from 'node:module'
import * as esm from 'atomkv'

const require = createRequire(import.meta.url)

test('both kinds of modules give the same', () => {
  const cjs = require('atomkv')
  assert.deepStrictEqual(Object.keys(esm).filter(name => name !== 'default').sort(), Object.keys(cjs).sort())
  for (const name of Object.keys(cjs)) assert.strictEqual(esm[name], cjs[name])
})

test('no script runs when it is installed', () => {
  const { scripts = {} } = require('atomkv/package.json')
  assert.deepStrictEqual(['preinstall', 'install', 'postinstall'].filter(name => name in scripts), [])
})
