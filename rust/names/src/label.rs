use hickory_proto::rr::Name;
use ztna_model::DomainName;

/// The name as messages spell it.
pub(crate) fn to_wire(name: &DomainName) -> Name {
    // A name of ours is always one of theirs.
    Name::from_labels(name.labels().map(str::as_bytes)).unwrap_or_default()
}

/// The name as policies spell it, if it can be a host's at all. A label with a dot in it is not two labels.
pub(crate) fn from_wire(name: &Name) -> Option<DomainName> {
    let mut text = String::new();
    for label in name.iter() {
        let label = std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?;
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(label);
    }
    text.to_ascii_lowercase().parse().ok()
}

/// Whether `name` is `base`, or stands below it, whatever its other labels are.
pub(crate) fn is_within(name: &Name, base: &DomainName) -> bool {
    let labels: Vec<&[u8]> = name.iter().collect();
    let mut theirs = labels.into_iter().rev();
    base.labels()
        .rev()
        .all(|label| theirs.next().is_some_and(|other| other.eq_ignore_ascii_case(label.as_bytes())))
}
