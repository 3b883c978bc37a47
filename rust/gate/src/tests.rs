//! The gate between a broker that signs and devices that send.

mod site; // a gateway, its broker and its devices
mod draft; // a lease on its way to be signed
mod changes; // what rows change about one

mod refusals; // what must hold before a lease is taken
mod again; // the same id again
mod trust; // whose word counts
mod floors; // what a re-decision leaves standing
mod renewals; // when the broker hears of this gateway
mod ends; // when a lease is over
mod packets; // what devices try
mod model; // that the gate does what a plain list of leases would do
mod corpus; // recorded leases and frames
