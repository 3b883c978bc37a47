//! What no single crate can prove: layering, the World, scenarios, attacks, real processes.

pub mod fuzz; // what must hold for any bytes whatsoever
