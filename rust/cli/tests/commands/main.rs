//! The command line by itself: exit codes, help, configuration files and what is wrong with them.

#[cfg(test)]
mod program; // the program, run
#[cfg(test)]
mod dir; // a directory of one test's own

#[cfg(test)]
mod exits; // how it ends
#[cfg(test)]
mod help; // what it says of itself
#[cfg(test)]
mod configuration; // its files
