//! What no single crate can prove: layering, the World, scenarios, attacks, real processes.
