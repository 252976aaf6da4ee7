// Lays out what is published, in dist/: the package of this platform with the native part, and the package `atomkv`
// without it, which names the packages of all platforms as optional dependencies. Neither has an install script.

import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(here, 'dist')
const source = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'))
const { devDependencies, scripts, ...main } = source
const binaries = readdirSync(here).filter(name => name.endsWith('.node'))
const write = (folder, value) => writeFileSync(join(folder, 'package.json'), `${JSON.stringify(value, null, 2)}\n`)

rmSync(dist, { recursive: true, force: true })
main.optionalDependencies = {}
for (const binary of binaries) {
  const platform = binary.slice('atomkv.'.length, -'.node'.length)
  const [os, cpu, libc] = platform.split('-')
  const folder = join(dist, platform)
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(here, binary), join(folder, binary))
  if (platform.startsWith('linux')) execFileSync('strip', ['--strip-debug', join(folder, binary)])
  for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) copyFileSync(join(here, '..', '..', licence), join(folder, licence))
  write(folder, {
    name: `@atomkv/${platform}`,
    version: source.version,
    description: `The native part of atomkv for ${platform}`,
    license: source.license,
    repository: source.repository,
    engines: source.engines,
    os: [os],
    cpu: [cpu],
    ...(libc ? { libc: [libc === 'gnu' ? 'glibc' : libc] } : {}),
    main: binary,
    files: [binary, 'LICENSE-MIT', 'LICENSE-APACHE']
  })
  main.optionalDependencies[`@atomkv/${platform}`] = source.version
}
const folder = join(dist, 'atomkv')
mkdirSync(folder, { recursive: true })
main.files = [...main.files.filter(name => name !== '*.node'), 'LICENSE-MIT', 'LICENSE-APACHE']
write(folder, main)
for (const name of ['index.js', 'index.mjs', 'index.d.ts', 'index.d.mts', 'level.d.ts', 'README.md']) copyFileSync(join(here, name), join(folder, name))
cpSync(join(here, 'lib'), join(folder, 'lib'), { recursive: true })
for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) copyFileSync(join(here, '..', '..', licence), join(folder, licence))
for (const name of readdirSync(dist)) {
  execFileSync('npm', ['pack', '--silent', '--pack-destination', dist], { cwd: join(dist, name), stdio: 'inherit' })
}
