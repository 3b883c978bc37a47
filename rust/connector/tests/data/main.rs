//! The client's data half, from an application's socket to an application behind a gateway and back, over real
//! sockets on this machine's loopback.

#![cfg(test)]

mod gateway;
mod world;

mod cutting; // what is taken back ends at once
mod carrying; // bytes, both ways
mod gateways; // those at the other end, and their silence
mod refusing; // what an application is told
mod withstanding; // what must not hurt
