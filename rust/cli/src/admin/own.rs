use ztna_api::wire;
use ztna_broker::admin::{AccountShown, KeysShown, LocalAnswer};
use ztna_model::Secret;

use super::print::date;
use crate::counted::counted;
use crate::exit::Exit;
use crate::table::Table;

/// Prints what the broker answered on its own matters.
pub(super) fn answer(answer: &LocalAnswer, json: bool) -> Exit {
    if json {
        println!("{}", wire::write(answer));
    } else {
        in_words(answer);
    }
    Exit::Done
}

fn in_words(answer: &LocalAnswer) {
    match answer {
        LocalAnswer::Done {} => println!("Done."),
        LocalAnswer::Accounts { accounts } => print_accounts(accounts),
        LocalAnswer::Account { account, password } => print_account(account, password.as_ref()),
        LocalAnswer::Verified { writer, length, head } => {
            let rows = counted(*length, "row", "rows");
            println!("The log of {writer} holds: {rows}, none changed, none missing.");
            println!(
                "Its signed end: keep this line in a file elsewhere, and give the file back with --witness:\n{head}"
            );
        }
        LocalAnswer::Lines { lines, .. } => lines.iter().for_each(|line| println!("{line}")),
        LocalAnswer::Erased { rows } => {
            println!("Erased in {}; the log still verifies.", counted(*rows, "row", "rows"));
        }
        LocalAnswer::BackedUp { bytes } => {
            println!("Copied: {bytes} bytes. Keep it with a copy of the broker's directory `keys`.");
        }
        LocalAnswer::Keys(keys) => print_keys(keys),
        LocalAnswer::Alarms { alarms } => {
            alarms.iter().for_each(|(when, what)| println!("{}  {what}", date(*when)));
            if alarms.is_empty() {
                println!("There are no alarms.");
            }
        }
    }
}

fn print_accounts(accounts: &[AccountShown]) {
    let mut table = Table::new(&["account", "name", "e-mail", "state", "subject"]);
    for account in accounts {
        let state = if account.disabled { "disabled" } else { "enabled" };
        table.row([
            account.name.clone(),
            account.display_name.clone(),
            account.email.clone().unwrap_or_default(),
            state.into(),
            account.person.subject.clone(),
        ]);
    }
    table.print("There are no accounts. Add one: openztna admin accounts add …");
}

fn print_account(account: &AccountShown, password: Option<&Secret<String>>) {
    let state = if account.disabled { "may not sign in" } else { "may sign in" };
    println!("{} ({}) {state}.", account.name, account.display_name);
    if let Some(password) = password {
        println!("{}", password.expose());
        eprintln!("The password above is not shown again.");
    }
}

fn print_keys(keys: &KeysShown) {
    println!("root         {}", keys.root);
    if keys.root_is_here {
        println!("             its private key lies in the broker's directory: it is safer elsewhere");
    }
    println!("key set      number {}", keys.seq);
    println!("certificate  until {}", date(keys.certificate_until));
    let mut table = Table::new(&["use", "state", "thumbprint"]);
    for key in &keys.keys {
        table.row([plain(&key.usage), plain(&key.state), key.thumbprint.to_string()]);
    }
    table.print("");
}

/// A word as it stands on the wire.
fn plain(word: &impl serde::Serialize) -> String {
    let word = serde_json::to_value(word).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
