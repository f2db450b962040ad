//! Short runnable programs; quickstart first.
