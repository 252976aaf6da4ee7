'use strict'
// Finds the native part: beside this package when it was built from source, else in the package of the platform.

const path = require('node:path')

function platform () {
  const { platform, arch } = process
  if (platform !== 'linux') return `${platform}-${arch}`
  return `linux-${arch}-${isGnu() ? 'gnu' : 'musl'}`
}

function isGnu () {
  const { report } = process
  if (!report) return true
  // Else it would look up the names of all the process's connections.
  const before = report.excludeNetwork
  report.excludeNetwork = true
  const { header } = report.getReport()
  report.excludeNetwork = before
  return Boolean(header.glibcVersionRuntime)
}

function load () {
  const name = platform()
  const file = path.join(__dirname, '..', `atomkv.${name}.node`)
  const tried = []
  for (const place of [file, `@atomkv/${name}`]) {
    try {
      return require(place)
    } catch (error) {
      tried.push(error.message.split('\n')[0])
    }
  }
  const error = new Error(
    `atomkv has no native part for ${name}: install it with optional dependencies, or build it from source with ` +
    `Rust ('npm install ./bindings/node' in the repository). Tried: ${tried.join('; ')}`)
  error.code = 'ATOMKV_NO_BINARY'
  throw error
}

module.exports = load()
