// Package redact takes secrets out of texts that are kept where more people
// read than may know them: logs in build records, conditions and events. What
// it is told to hide it hides exactly; what looks like a credential it hides as
// well, because a build prints what its administrator never told anybody. What
// would move the terminal of whoever reads it goes as well.
package redact
