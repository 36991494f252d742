//! The agents' API: ours alone, spoken by `hm agent`.
//!
//! ```text
//! POST /agent/v1/lease                          wait for a build; 204 when none came
//! POST /agent/v1/builds/{id}/heartbeat          hold it; waits, and answers at once when it is to stop
//! POST /agent/v1/builds/{id}/events             say what it does (NDJSON); answers which event is wanted next
//! POST /agent/v1/builds/{id}/complete           it is over
//! POST /agent/v1/builds/{id}/release            somebody else shall run it
//! ```
//!
//! Every lease has an **attempt** number, larger than those of the leases before it, and whatever an agent says about a
//! build carries it. What comes from a lost attempt is answered with 409 `lease_lost`; the agent then stops that build at once and
//! throws its work away. A lease is held by a heartbeat or by events within `lease_seconds`.
//!
//! Events are numbered from 1 within the attempt. Sent again, they are taken once; a gap is answered with 409
//! `events_missing`, which says where to go on. Their `step_id`s are the job ids that came with the lease. `build_end` is never sent: the server writes it
//! when the build is completed, so that it comes once whatever happens.

pub(super) mod builds;
pub(super) mod lease;
