//! The gate between a broker that signs and devices that send.

mod site; // a gateway, its broker and its devices
mod draft; // a lease on its way to be signed
mod changes; // what rows change about one

mod refusals; // what must hold before a lease is taken
mod again; // the same id again
mod trust; // whose word counts
