// Package osbuild decides what is to be done for one pool's image. It knows no
// API server, no clock and no network: Desire says what image a pool should
// have, Plan what to do next about it, Status what to tell the administrator.
// All three are functions of plain values, so that every situation is a row of
// a table.
//
// # States
//
// The state is computed afresh from what exists; nothing remembers it.
//
//	                label                     pod runs
//	OptedOut ───────────────▶ Starting ─────────────────▶ Running
//	   ▲                      ▲  ▲   ▲                    │     │
//	   │ label removed        │  │   │ slot free          │     │ pod fails
//	   │ (from any state)     │  │   Queued               │     ▼
//	                          │  │                        │   Failing ──▶ Retrying ─▶ Starting
//	Blocked ──── user mends ──┘  │                        │        │
//	Waiting ──── appears ────────┘          pod succeeds  │        │ tries spent
//	                                                      ▼        ▼
//	           Succeeded ◀── Annotating ◀── Recording ◀── Confirming  Failed
//	                             ▲                        │
//	                             └── record of the same   │ registry knows no such digest
//	                                 inputs, confirmed    ▼
//	                                 (no run)             Failing
//
// Before Starting, inputs without a recorded success are looked for in the
// registry (Asking); an image with their hash is recorded as it is (Reusing).
// While the registry does not answer nothing starts (Unanswered), and the pool
// stands in nobody's way: it has no place in the queue.
// An image that its record marks for deletion is not used until the mark is
// gone, which package retention sees to (Reclaiming).
//
// From every state: new inputs (another rendered config, Dockerfile, base
// image, repository or rebuild token) make every existing build stale; it is
// removed, and Starting waits until it is gone (Clearing). A run that its kubelet
// does not end in time is taken for lost with its node (Failing, interrupted).
//
// # Forbidden
//
//   - A run is never started while another run of the pool exists, even a
//     terminating one, nor for a rendered config that the pool does not target.
//   - A digest is never annotated before the registry has confirmed it and the
//     record holds it.
//   - A run's objects are never removed before its result is recorded, unless
//     its inputs are stale.
//   - A finished run's result is never applied to other inputs than its own.
package osbuild
