//! The cloud of hm.
