// Builds the native part with cargo and puts it beside index.js. Run by npm when the package is installed from its
// source or packed; published packages bring it along. Outside the repository there is nothing to build.

import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, renameSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(dirname(fileURLToPath(import.meta.url)))
const root = resolve(here, '..', '..')
if (existsSync(join(root, 'Cargo.toml')) && existsSync(join(here, 'Cargo.toml'))) {
  const gnu = process.platform === 'linux' ? (process.report.getReport().header.glibcVersionRuntime ? '-gnu' : '-musl') : ''
  const [prefix, suffix] = { win32: ['', '.dll'], darwin: ['lib', '.dylib'] }[process.platform] ?? ['lib', '.so']
  const target = resolve(root, process.env.CARGO_TARGET_DIR ?? 'target')
  try {
    execFileSync('cargo', ['build', '--release', '--locked', '-p', 'atomkv-node'], { cwd: root, stdio: 'inherit' })
  } catch (error) {
    console.error(error.code === 'ENOENT' ? 'cargo is missing: install Rust, see https://rustup.rs' : error.message)
    process.exit(1)
  }
  const file = join(here, `atomkv.${process.platform}-${process.arch}${gnu}.node`)
  // Renamed into place: a process that has the old one loaded keeps it.
  copyFileSync(join(target, 'release', `${prefix}atomkv_node${suffix}`), `${file}.new`)
  renameSync(`${file}.new`, file)
}
