//! Decisions by Cedar: policies as administrators write them, and what they say of one request.

mod language; // the schema, and the names of things within it
pub(crate) use language::Language;
pub use language::schema;

mod reads; // which parts of the context a policy reads

mod depth; // how deep policies nest

mod rule; // one policy, checked as far as a policy can be
pub(crate) use rule::{Known, Rule};

mod obligation; // what a permit asks for besides

mod scene; // who asks, from what device, when
pub(crate) use scene::{Person, Scene, Sign, Surroundings};

mod engine; // all rules, cut into slices by resource
pub(crate) use engine::{Engine, Judged};

mod explain; // what would turn a refusal

#[cfg(test)]
mod tests;
#[cfg(test)]
mod properties;
