//! What a header declares, in the order in which it does.

/// A header.
pub struct Header {
    pub items: Vec<Item>,
    /// The comment at the head: conventions that hold for every function.
    pub overview: String,
}

/// One declaration.
pub enum Item {
    Constant(Constant),
    Enumeration(Enumeration),
    /// A structure of which only the name is known.
    Opaque(Named),
    Structure(Structure),
    /// A name for another type.
    Alias(Member),
    /// A name for a type of functions that the caller writes.
    Callback(Function),
    Function(Function),
}

/// `#define NAME value`.
pub struct Constant {
    pub name: String,
    pub value: String,
    pub doc: String,
}

/// A name and its comment.
pub struct Named {
    pub name: String,
    pub doc: String,
}

/// Named numbers, and the type that holds them.
pub struct Enumeration {
    pub name: String,
    pub c_type: String,
    pub values: Vec<Value>,
    pub doc: String,
}

/// One named number.
pub struct Value {
    pub name: String,
    pub value: i64,
    pub doc: String,
}

/// A structure whose fields are part of the interface.
pub struct Structure {
    pub name: String,
    pub fields: Vec<Member>,
    pub doc: String,
}

/// A field, a parameter or an alias: a name of a type.
pub struct Member {
    pub name: String,
    pub c_type: Type,
    pub doc: String,
}

/// A type as C writes it.
#[derive(Clone)]
pub enum Type {
    /// `const char *`; with `[n]` for an array.
    Plain { text: String, array: String },
    /// A pointer to a function.
    Pointer { result: String, parameters: Vec<(String, Type)> },
}

/// A function, or a type of functions.
pub struct Function {
    pub name: String,
    pub result: String,
    pub parameters: Vec<(String, Type)>,
    pub doc: String,
}

impl Header {
    /// The functions, in the order of the header.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.items.iter().filter_map(|item| match item {
            Item::Function(function) => Some(function),
            _ => None,
        })
    }

    /// The function of that name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions().find(|function| function.name == name)
    }

    /// Whether it is the name of a type of which only the name is known.
    pub fn is_opaque(&self, name: &str) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Opaque(opaque) if opaque.name == name))
    }

    /// The value of a constant.
    pub fn constant(&self, name: &str) -> Option<&str> {
        self.items.iter().find_map(|item| match item {
            Item::Constant(constant) if constant.name == name => Some(constant.value.as_str()),
            _ => None,
        })
    }

    /// What frees a handle of this type: the function `..._free`, `..._release` or `..._end` with that one parameter.
    pub fn freed_with(&self, handle: &str) -> Option<&str> {
        ["free", "release", "end"].into_iter().find_map(|ending| {
            let function = self.function(&format!("{handle}_{ending}"))?;
            (function.parameters.len() == 1).then_some(function.name.as_str())
        })
    }
}

impl Item {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Item::Constant(item) => &item.name,
            Item::Enumeration(item) => &item.name,
            Item::Opaque(item) => &item.name,
            Item::Structure(item) => &item.name,
            Item::Alias(item) => &item.name,
            Item::Callback(item) | Item::Function(item) => &item.name,
        }
    }

    /// Its comment.
    pub fn doc(&self) -> &str {
        match self {
            Item::Constant(item) => &item.doc,
            Item::Enumeration(item) => &item.doc,
            Item::Opaque(item) => &item.doc,
            Item::Structure(item) => &item.doc,
            Item::Alias(item) => &item.doc,
            Item::Callback(item) | Item::Function(item) => &item.doc,
        }
    }
}

impl Type {
    /// The declaration of a name of this type; of the type alone if the name is empty.
    pub fn declare(&self, name: &str) -> String {
        match self {
            Type::Plain { text, array } if name.is_empty() => format!("{text}{array}"),
            Type::Plain { text, array } if text.ends_with('*') => format!("{text}{name}{array}"),
            Type::Plain { text, array } => format!("{text} {name}{array}"),
            Type::Pointer { result, parameters } => {
                format!("{}({})", spaced(result, &format!("(*{name})")), list(parameters))
            }
        }
    }

    /// The type alone, without the names of parameters: two that are the same have the same text.
    pub fn text(&self) -> String {
        match self {
            Type::Plain { .. } => self.declare(""),
            Type::Pointer { result, parameters } => {
                format!("{}({})", spaced(result, "(*)"), types(parameters))
            }
        }
    }

    /// The type that a pointer of depth `stars` points to, without `const`.
    pub fn pointee(&self, stars: usize) -> Option<&str> {
        let Type::Plain { text, array } = self else { return None };
        let base = text.trim_end_matches('*');
        (array.is_empty() && text.len() - base.len() == stars)
            .then(|| base.trim().trim_start_matches("const "))
    }

    /// Whether what it points to is only read.
    pub fn points_to_const(&self) -> bool {
        matches!(self, Type::Plain { text, .. } if text.starts_with("const ") && text.ends_with('*'))
    }
}

impl Function {
    /// `result name(type name, …)`.
    pub fn declaration(&self) -> String {
        format!("{}({})", spaced(&self.result, &self.name), list(&self.parameters))
    }

    /// `result (*name)(type name, …)`.
    pub fn pointer(&self) -> String {
        format!("{}({})", spaced(&self.result, &format!("(*{})", self.name)), list(&self.parameters))
    }
}

/// A result type and what follows it.
fn spaced(result: &str, rest: &str) -> String {
    if result.ends_with('*') { format!("{result}{rest}") } else { format!("{result} {rest}") }
}

fn list(parameters: &[(String, Type)]) -> String {
    let declared: Vec<String> = parameters.iter().map(|(name, c_type)| c_type.declare(name)).collect();
    if declared.is_empty() { "void".to_string() } else { declared.join(", ") }
}

fn types(parameters: &[(String, Type)]) -> String {
    let types: Vec<String> = parameters.iter().map(|(_, c_type)| c_type.text()).collect();
    if types.is_empty() { "void".to_string() } else { types.join(", ") }
}
