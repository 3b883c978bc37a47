//! The broker as others see it: its store, its sockets, its files. One binary, so that there is one link.

#[cfg(test)]
mod dir; // a directory of one test's own

#[cfg(test)]
mod gate; // somebody who would be a gateway
#[cfg(test)]
mod keys; // the organisation's keys on the disk
#[cfg(test)]
mod phone; // somebody who signs in
#[cfg(test)]
mod world; // a broker that runs

#[cfg(test)]
mod accounts; // who may sign in
#[cfg(test)]
mod audit; // the log outside the store
#[cfg(test)]
mod id_tokens; // whose ID tokens are believed
#[cfg(test)]
mod sign_in; // people and devices come in
#[cfg(test)]
mod tokens; // what tokens open and what opens them
#[cfg(test)]
mod streams; // control streams
#[cfg(test)]
mod gateways; // gateways come in
#[cfg(test)]
mod leases; // what they give devices, and what is taken away
#[cfg(test)]
mod admin; // what administrators ask
#[cfg(test)]
mod history; // the audit log of a broker at work
#[cfg(test)]
mod back_up; // copies of the store
#[cfg(test)]
mod life; // a broker as a process
#[cfg(test)]
mod logout; // what an external provider says of who signed out there
#[cfg(test)]
mod corpus; // what came from outside, file by file
#[cfg(test)]
mod store; // the suite every store passes
