//! The types of the product, as their sources declare them: which of them hold a secret, and which of
//! those can be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::{Attribute, Fields, GenericArgument, Item, PathArguments, Type, Visibility};

/// What `Debug` never shows of itself.
const SECRET_TYPES: [&str; 2] = ["SecretString", "SecretBox"];

/// Types that show whatever they hold.
const PLAIN_TYPES: [&str; 9] = [
    "String", "str", "Bytes", "Url", "Value", "Map", "HashMap", "BTreeMap", BYTES,
];

/// How an array, a slice or a vector of bytes is noted.
const BYTES: &str = "[u8]";

/// Names of fields in which secrets may lie.
const TELLING_NAMES: [&str; 18] = [
    "authorization",
    "body",
    "claim",
    "code",
    "cookie",
    "credential",
    "key",
    "nonce",
    "object",
    "passcode",
    "password",
    "query",
    "secret",
    "signature",
    "state",
    "token",
    "url",
    "verifier",
];

/// A struct or enum.
#[derive(Default)]
struct Declared {
    public: bool,
    /// By `Debug` or `Display`, derived or written.
    shown: bool,
    /// The names of all types that its fields' types are made of.
    holds: BTreeSet<String>,
    /// Plain fields in which secrets may lie, by name or place.
    telling: Vec<String>,
}

/// All types of the product, by crate and name.
pub(super) struct Declarations(BTreeMap<(String, String), Declared>);

impl Declarations {
    /// Reads the sources below `shared` and `functions`.
    pub(super) fn of_the_product() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut all = Self(BTreeMap::new());
        for folder in ["shared", "functions"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap().replace('-', "_");
                for file in sources(&entry.path().join("src")) {
                    all.read(&name, &std::fs::read_to_string(&file).unwrap());
                }
            }
        }
        all
    }

    fn read(&mut self, krate: &str, source: &str) {
        self.items(krate, &syn::parse_file(source).unwrap().items);
    }

    /// The types that can be shown and hold a secret, or may: as `crate::Type`.
    pub(super) fn secret(&self) -> BTreeSet<String> {
        let holding = self.holding_a_secret();
        let secret = self.0.iter().filter(|(name, declared)| {
            declared.shown && (holding.contains(*name) || !declared.telling.is_empty())
        });
        secret
            .map(|((krate, name), _)| format!("{krate}::{name}"))
            .collect()
    }

    /// Whether other crates can name the type.
    pub(super) fn is_public(&self, name: &str) -> bool {
        let (krate, short) = name.split_once("::").unwrap();
        let declared = self.0.get(&(krate.to_owned(), short.to_owned()));
        declared.is_some_and(|declared| declared.public)
    }

    /// Whether one type holds the other, over any number of types between.
    pub(super) fn reaches(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(name) = waiting.pop() {
            if name == to {
                return true;
            }
            let Some((krate, short)) = name.split_once("::") else {
                continue;
            };
            let Some(declared) = self.0.get(&(krate.to_owned(), short.to_owned())) else {
                continue;
            };
            for held in &declared.holds {
                let full = format!("{krate}::{held}");
                if seen.insert(full.clone()) {
                    waiting.push(full);
                }
            }
        }
        false
    }

    /// Those that hold a secret type, or a type that does.
    fn holding_a_secret(&self) -> BTreeSet<(String, String)> {
        let mut found: BTreeSet<(String, String)> = BTreeSet::new();
        loop {
            let names: BTreeSet<String> = found.iter().map(|(_, name)| name.clone()).collect();
            let more = self.0.iter().filter(|(_, declared)| {
                let mut held = declared.holds.iter();
                held.any(|held| SECRET_TYPES.contains(&held.as_str()) || names.contains(held))
            });
            let more: BTreeSet<_> = more.map(|(name, _)| name.clone()).collect();
            if more == found {
                return found;
            }
            found = more;
        }
    }

    fn items(&mut self, krate: &str, items: &[Item]) {
        for item in items {
            match item {
                Item::Struct(it) => {
                    let fields = [(String::new(), &it.fields)];
                    self.declare(krate, &it.ident, &it.vis, &it.attrs, &fields);
                }
                Item::Enum(it) => {
                    let variants = it.variants.iter();
                    let fields: Vec<_> = variants
                        .map(|variant| (format!("{}.", variant.ident), &variant.fields))
                        .collect();
                    self.declare(krate, &it.ident, &it.vis, &it.attrs, &fields);
                }
                Item::Impl(it) => {
                    let shows = it.trait_.as_ref().is_some_and(|(_, path, _)| {
                        let last = path.segments.last().unwrap();
                        last.ident == "Debug" || last.ident == "Display"
                    });
                    if let (true, Type::Path(of)) = (shows, &*it.self_ty) {
                        let name = of.path.segments.last().unwrap().ident.to_string();
                        self.entry(krate, name).shown = true;
                    }
                }
                Item::Mod(it) if !is_test(&it.attrs) => {
                    if let Some((_, items)) = &it.content {
                        self.items(krate, items);
                    }
                }
                _ => {}
            }
        }
    }

    fn declare(
        &mut self,
        krate: &str,
        name: &syn::Ident,
        visibility: &Visibility,
        attributes: &[Attribute],
        fields: &[(String, &Fields)],
    ) {
        let declared = self.entry(krate, name.to_string());
        declared.public = matches!(visibility, Visibility::Public(_));
        declared.shown |= derives_a_show(attributes);
        for (prefix, fields) in fields {
            for (place, field) in fields.iter().enumerate() {
                let mut types = BTreeSet::new();
                gather(&field.ty, &mut types);
                let name = field.ident.as_ref().map(ToString::to_string);
                let plain = types.iter().any(|it| PLAIN_TYPES.contains(&it.as_str()));
                let telling = name.as_ref().is_none_or(|name| {
                    let mut words = TELLING_NAMES.iter();
                    words.any(|word| name.contains(word))
                });
                if plain && telling {
                    let name = name.unwrap_or_else(|| place.to_string());
                    declared.telling.push(format!("{prefix}{name}"));
                }
                declared.holds.extend(types);
            }
        }
    }

    fn entry(&mut self, krate: &str, name: String) -> &mut Declared {
        self.0.entry((krate.to_owned(), name)).or_default()
    }
}

/// The names of all types that a type is made of.
fn gather(of: &Type, names: &mut BTreeSet<String>) {
    match of {
        Type::Path(path) => {
            for segment in &path.path.segments {
                names.insert(segment.ident.to_string());
                let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
                    continue;
                };
                for argument in &arguments.args {
                    if let GenericArgument::Type(argument) = argument {
                        gather_elements(argument, names);
                    }
                }
            }
        }
        Type::Reference(it) => gather(&it.elem, names),
        Type::Array(it) => gather_elements(&it.elem, names),
        Type::Slice(it) => gather_elements(&it.elem, names),
        Type::Paren(it) => gather(&it.elem, names),
        Type::Group(it) => gather(&it.elem, names),
        Type::Tuple(it) => it.elems.iter().for_each(|it| gather(it, names)),
        _ => {}
    }
}

fn gather_elements(of: &Type, names: &mut BTreeSet<String>) {
    gather(of, names);
    if names.remove("u8") {
        names.insert(BYTES.to_owned());
    }
}

/// `Debug`, or thiserror's `Error`, which writes `Display`.
fn derives_a_show(attributes: &[Attribute]) -> bool {
    let mut found = false;
    for attribute in attributes.iter().filter(|it| it.path().is_ident("derive")) {
        let each = attribute.parse_nested_meta(|derived| {
            let last = derived.path.segments.last().unwrap();
            found |= last.ident == "Debug" || last.ident == "Error";
            Ok(())
        });
        each.unwrap();
    }
    found
}

fn is_test(attributes: &[Attribute]) -> bool {
    let mut configured = attributes.iter().filter(|it| it.path().is_ident("cfg"));
    configured.any(|it| it.parse_args::<syn::Ident>().is_ok_and(|it| it == "test"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn types_are_found_by_what_they_hold_and_by_what_their_fields_are_called() {
    let mut all = Declarations(BTreeMap::new());
    all.read(
        "one",
        r#"
        #[derive(Debug)] pub struct Wrapped { inner: Option<SecretString> }
        #[derive(Clone)] pub struct NeverShown { inner: SecretString, token: String }
        #[derive(Debug)] pub struct Harmless { name: String, count: u64, token: bool }
        #[derive(Debug)] pub struct ByName { access_token: Option<String> }
        #[derive(Debug)] pub struct ByPlace(Vec<u8>);
        #[derive(Debug)] enum ByVariant { Name { name: String }, Url(String) }
        #[derive(thiserror::Error)] pub enum Failed { Body { body: bytes::Bytes } }
        pub struct ByHand { hidden: [u8; 16], key: [u8; 16] }
        impl std::fmt::Debug for ByHand {}
        #[cfg(test)] mod tests { #[derive(Debug)] struct InTests { token: String } }
        mod inner { #[derive(Debug)] pub struct Deep<'a> { of: &'a [Wrapped] } }
        "#,
    );
    all.read(
        "two",
        "#[derive(Debug)] pub struct Holder { held: Box<one::Wrapped> }",
    );
    let found: Vec<String> = all.secret().into_iter().collect();
    let expected = [
        "one::ByHand",
        "one::ByName",
        "one::ByPlace",
        "one::ByVariant",
        "one::Deep",
        "one::Failed",
        "one::Wrapped",
        "two::Holder",
    ];
    assert_eq!(found, expected);
    assert!(all.reaches("one::Deep", "one::Wrapped"));
    assert!(!all.reaches("one::Wrapped", "one::Deep"));
}
