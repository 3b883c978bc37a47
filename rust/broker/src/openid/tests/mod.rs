//! The provider as its clients, its people and its attackers meet it.

mod world;

mod authorize; // requests that are refused, row by row
mod corpus; // queries, forms and cookies that came from outside
mod grants; // codes and refresh tokens, row by row
mod over_http; // whole sign-ins over TCP, by clients that are not ours
mod pages; // what people see
mod signing_in; // names, passwords, and who guesses at them
