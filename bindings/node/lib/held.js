'use strict'

const { native } = require('./core')

const registry = new FinalizationRegistry(held => held.close())

/**
 * What a database gives up when it is closed: the handle of an object, and nothing of the object itself. A WeakRef would keep
 * it, with its buffers, until the turn of the loop ends.
 */
class Held {
  /** Given up, too, when nobody has the owner any more. */
  constructor (database, handle, owner) {
    this.handle = handle
    /** Whether it was closed because the database was. */
    this.isCutOff = false
    this._children = database._children
    this._children.set(handle, this)
    registry.register(owner, this, this)
  }

  close () {
    if (this.handle === 0) return
    registry.unregister(this)
    this._children.delete(this.handle)
    native.release(this.handle)
    this.handle = 0
  }

  cutOff () {
    this.isCutOff = true
    this.close()
  }
}

module.exports = { Held }
