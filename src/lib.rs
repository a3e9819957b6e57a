//! callbridge: a voice-call bridge gateway that lets an AI agent join a live call as a participant.
//!
//! The modules below stand in dependency order; a module may only name those above it in its
//! layer's row of `ARCHITECTURE.md`, and `tests/tidy.rs` holds it to that.

// Layer 0: words.
pub mod ids;
pub mod meter;
pub mod privacy;
pub mod sys;

// Layer 1: pure cores.
pub mod agent;
pub mod media;

// Layer 2: adapters.
pub mod models;
pub mod rooms;
pub mod store;
pub mod traces;

// Layer 3: the shell.
pub mod runtime;

// Layer 3 without the world: the same cores in simulated time.
pub mod rehearsal;

// Layer 4: what clients see.
pub mod api;

// Layer 5: composition.
pub mod app;
pub mod cli;
pub mod config;
pub mod load;
pub mod telemetry;
