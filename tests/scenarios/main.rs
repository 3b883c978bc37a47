//! A scenario for each promise of the product, in virtual time: named after the promise it proves.

#[path = "../world/mod.rs"]
mod world;

mod never_trust_always_verify;
mod per_application_not_per_network;
mod continuous;
mod end_to_end;
mod dark_services;
mod any_identity_provider_any_network;
mod kind_to_the_phone;
mod it_says_why;
