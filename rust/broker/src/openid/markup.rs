use std::fmt;

/// Text that a browser may take for HTML. It comes from our own templates, or from [`Markup::text`], which leaves
/// nothing in it that is more than text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Markup(String);

impl Markup {
    /// Outside text, to stand between tags or in a quoted attribute.
    pub(crate) fn text(text: &str) -> Self {
        let mut markup = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '&' => markup.push_str("&amp;"),
                '<' => markup.push_str("&lt;"),
                '>' => markup.push_str("&gt;"),
                '"' => markup.push_str("&quot;"),
                '\'' => markup.push_str("&#39;"),
                '\0' => markup.push(char::REPLACEMENT_CHARACTER),
                c => markup.push(c),
            }
        }
        Self(markup)
    }

    /// Our own words.
    pub(crate) fn own(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// `template` with each `{{name}}` replaced by its value. Values are not searched for names again.
    pub(crate) fn fill(template: &'static str, values: &[(&str, &Self)]) -> Self {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            let value = values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.0.as_str());
            filled.push_str(value.unwrap_or_default());
            rest = after;
        }
        filled.push_str(rest);
        Self(filled)
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn h04_markup_in_names_stays_text() {
        let rows = [
            ("Ana & Bo", "Ana &amp; Bo"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" autofocus onfocus=\"x", "&quot; autofocus onfocus=&quot;x"),
            ("' onfocus='x", "&#39; onfocus=&#39;x"),
            ("&lt;", "&amp;lt;"),
            ("\0", "\u{fffd}"),
        ];
        for (text, expected) in rows {
            assert_eq!(Markup::text(text).0, expected);
        }
    }

    #[test]
    fn h04_values_are_no_templates() {
        let (one, two) = (Markup::text("{{two}}"), Markup::text("secret"));
        let filled = Markup::fill("<b>{{one}}</b>{{none}}<i>{{two}}</i>", &[("one", &one), ("two", &two)]);
        assert_eq!(filled.to_string(), "<b>{{two}}</b><i>secret</i>");
    }

    proptest! {
        #[test]
        fn h04_no_text_opens_a_tag_or_leaves_its_quotes(text in ".*") {
            let markup = Markup::text(&text).0;
            prop_assert!(!markup.contains(['<', '>', '"', '\'', '\0']));
            let back = markup.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            let back = back.replace("&#39;", "'").replace("&amp;", "&");
            prop_assert_eq!(back, text.replace('\0', "\u{fffd}"));
        }
    }
}
