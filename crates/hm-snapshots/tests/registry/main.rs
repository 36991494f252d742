//! The snapshot registry over real files: eviction, leases, many processes, `kill -9`, a full disk.

mod backend;
mod children;
mod disk_full;
mod eviction;
mod kill;
mod many;
mod remembering;
