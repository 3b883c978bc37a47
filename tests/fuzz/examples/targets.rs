//! Prints the names of all targets, or the corpus folders of the one that is named.

use ztna_fuzz::TARGETS;

fn main() {
    match std::env::args().nth(1) {
        None => TARGETS.iter().for_each(|target| println!("{}", target.name)),
        Some(name) => {
            let found = TARGETS.iter().filter(|target| target.name == name);
            found.flat_map(|target| target.corpus).for_each(|corpus| println!("{corpus}"));
        }
    }
}
