//! Reads the text of the header as a C99 compiler does. It knows the C that cbindgen writes for this crate and stops
//! with a panic at anything else, so that nothing goes missing in what is made from it.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::model::*;

/// What the text consists of, once the preprocessor is done.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// The text of a documentation comment.
    Doc(String),
    Define(String, String),
    /// An identifier or a number.
    Word(String),
    Sign(char),
}

use Token::{Define, Doc, Sign, Word};

/// Reads a header.
pub fn header(text: &str) -> Header {
    let overview = text.split("*/").next().unwrap_or_default();
    let mut parser = Parser { tokens: tokens(&preprocessed(text)).into_iter().peekable() };
    let mut items: Vec<Item> = Vec::new();
    while let Some(item) = parser.item() {
        if let Item::Alias(Member { name, c_type, .. }) = &item
            && let Some(Item::Enumeration(of)) = items.iter_mut().find(|item| item.name() == name)
        {
            of.c_type = c_type.text();
            continue;
        }
        items.push(item);
    }
    Header { items, overview: comment(overview.trim_start_matches("/*")) }
}

/// The lines that a C99 compiler sees.
fn preprocessed(text: &str) -> String {
    let mut seen = String::new();
    let mut levels: Vec<bool> = Vec::new();
    for line in text.lines() {
        let directive = line.split("//").next().unwrap_or_default().trim();
        match directive.split_once(' ').map_or((directive, ""), |(word, rest)| (word, rest.trim())) {
            (
                "#if",
                "defined(__cplusplus) || __STDC_VERSION__ >= 202311L" | "__STDC_VERSION__ >= 202311L",
            )
            | ("#ifdef", "__cplusplus") => levels.push(false),
            ("#ifndef", "__cplusplus" | "ATOMKV_H") => levels.push(true),
            ("#else", _) => {
                let level = levels.last_mut().expect("an #else inside an #if");
                *level = !*level;
            }
            ("#endif", _) => assert!(levels.pop().is_some(), "an #endif without its #if"),
            ("#include", _) => {}
            (word, _) if word.starts_with('#') && word != "#define" => panic!("not known: {line}"),
            _ if levels.iter().all(|level| *level) => {
                seen.push_str(line);
                seen.push('\n');
            }
            _ => {}
        }
    }
    assert!(levels.is_empty(), "an #if without its #endif");
    seen
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return tokens };
        if let Some(after) = rest.strip_prefix("/*") {
            let (inside, after) = after.split_once("*/").expect("the end of a comment");
            if let Some(text) = inside.strip_prefix('*') {
                tokens.push(Doc(comment(text)));
            }
            rest = after;
        } else if let Some(after) = rest.strip_prefix("#define ") {
            let (line, after) = after.split_once('\n').unwrap_or((after, ""));
            if let Some((name, value)) = line.split_once(' ') {
                assert!(!name.contains('('), "a macro that hides a function: {name}");
                tokens.push(Define(name.to_string(), value.trim().to_string()));
            }
            rest = after;
        } else if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Word(rest[..end].to_string()));
            rest = &rest[end..];
        } else {
            tokens.push(Sign(first));
            rest = &rest[first.len_utf8()..];
        }
    }
}

/// A comment's text without its stars; paragraphs are kept apart by an empty line, lines within one are joined unless
/// they are indented.
fn comment(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix('*').unwrap_or(line);
        let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
        let joins = !(line.is_empty() || line.starts_with(' ') || out.is_empty() || out.ends_with('\n'));
        if joins {
            out.push(' ');
        } else if !out.is_empty() {
            out.push('\n');
            if line.is_empty() && !out.ends_with("\n\n") {
                out.push('\n');
            }
        }
        out.push_str(line);
    }
    out.trim().to_string()
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
}

impl Parser {
    /// The next declaration.
    fn item(&mut self) -> Option<Item> {
        let doc = self.doc();
        match self.tokens.peek()? {
            Define(..) => match self.tokens.next() {
                Some(Define(name, value)) => Some(Item::Constant(Constant { name, value, doc })),
                _ => None,
            },
            Word(word) if word == "enum" => Some(self.enumeration(doc)),
            Word(word) if word == "typedef" => {
                self.tokens.next();
                Some(self.typedef(doc))
            }
            _ => {
                let tokens = self.until(';');
                let (name, c_type) = declaration(&tokens);
                let Type::Pointer { result, parameters } = c_type else {
                    panic!("neither a type nor a function: {tokens:?}")
                };
                Some(Item::Function(Function { name, result, parameters, doc }))
            }
        }
    }

    fn doc(&mut self) -> String {
        let mut doc = String::new();
        while let Some(Doc(text)) = self.tokens.next_if(|token| matches!(token, Doc(_))) {
            doc = text;
        }
        doc
    }

    fn word(&mut self) -> String {
        match self.tokens.next() {
            Some(Word(word)) => word,
            other => panic!("a name is expected, not {other:?}"),
        }
    }

    fn is_sign(&mut self, sign: char) -> bool {
        self.tokens.next_if_eq(&Sign(sign)).is_some()
    }

    fn sign(&mut self, sign: char) {
        let next = self.tokens.next();
        assert!(next == Some(Sign(sign)), "{sign} is expected, not {next:?}");
    }

    /// The tokens before a sign, which is taken too.
    fn until(&mut self, end: char) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| *token != Sign(end)) {
            tokens.push(token);
        }
        self.sign(end);
        tokens
    }

    fn enumeration(&mut self, doc: String) -> Item {
        self.word();
        let name = self.word();
        self.sign('{');
        let mut values = Vec::new();
        while !self.is_sign('}') {
            let doc = self.doc();
            let name = self.word();
            self.sign('=');
            let negative = self.is_sign('-');
            let number: i64 = self.word().parse().expect("a number");
            values.push(Value { name, value: if negative { -number } else { number }, doc });
            self.is_sign(',');
        }
        self.sign(';');
        Item::Enumeration(Enumeration { name, c_type: "int".to_string(), values, doc })
    }

    fn typedef(&mut self, doc: String) -> Item {
        let mut head = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| !matches!(token, Sign('{' | ';'))) {
            head.push(token);
        }
        if self.is_sign('{') {
            assert!(head[0] == Word("struct".to_string()), "neither a struct nor a name: {head:?}");
            let mut fields = Vec::new();
            while !self.is_sign('}') {
                let doc = self.doc();
                let (name, c_type) = declaration(&self.until(';'));
                fields.push(Member { name, c_type, doc });
            }
            let name = self.word();
            self.sign(';');
            return Item::Structure(Structure { name, fields, doc });
        }
        self.sign(';');
        if let [Word(keyword), Word(tag), Word(name)] = &head[..]
            && keyword == "struct"
        {
            assert!(tag == name, "a struct with two names: {tag}, {name}");
            return Item::Opaque(Named { name: name.clone(), doc });
        }
        match declaration(&head) {
            (name, Type::Pointer { result, parameters }) => {
                Item::Callback(Function { name, result, parameters, doc })
            }
            (name, c_type) => Item::Alias(Member { name, c_type, doc }),
        }
    }
}

/// The name and the type of a parameter, a field or a function. A function is told like a pointer to one: which of the
/// two it is, the place tells.
fn declaration(tokens: &[Token]) -> (String, Type) {
    let open = tokens.iter().position(|token| *token == Sign('('));
    let Some(open) = open else { return plain(tokens) };
    assert!(tokens.last() == Some(&Sign(')')), "a declaration that ends otherwise: {tokens:?}");
    if let Some(Sign('*')) = tokens.get(open + 1) {
        let close = open + tokens[open..].iter().position(|token| *token == Sign(')')).expect("its end");
        let name = match &tokens[open + 2..close] {
            [Word(name)] => name.clone(),
            [] => String::new(),
            other => panic!("not known: {other:?}"),
        };
        let parameters = parameters(&tokens[close + 2..tokens.len() - 1]);
        return (name, Type::Pointer { result: joined(&tokens[..open]), parameters });
    }
    let (name, result) = plain(&tokens[..open]);
    (
        name,
        Type::Pointer { result: result.text(), parameters: parameters(&tokens[open + 1..tokens.len() - 1]) },
    )
}

fn parameters(tokens: &[Token]) -> Vec<(String, Type)> {
    if tokens == [Word("void".to_string())] {
        return Vec::new();
    }
    let mut depth = 0;
    let outside = |token: &Token| {
        match token {
            Sign('(') => depth += 1,
            Sign(')') => depth -= 1,
            _ => {}
        }
        depth == 0 && *token == Sign(',')
    };
    tokens.split(outside).map(declaration).collect()
}

fn plain(tokens: &[Token]) -> (String, Type) {
    let open = tokens.iter().position(|token| *token == Sign('[')).unwrap_or(tokens.len());
    let (tokens, array) = tokens.split_at(open);
    let array = joined(array).replace(' ', "");
    match tokens {
        [before @ .., Word(name)] if !before.is_empty() => {
            (name.clone(), Type::Plain { text: joined(before), array })
        }
        _ => (String::new(), Type::Plain { text: joined(tokens), array }),
    }
}

/// `const char *`, `atomkv_db **`.
fn joined(tokens: &[Token]) -> String {
    let mut out = String::new();
    for token in tokens {
        match token {
            Word(word) => {
                if !out.is_empty() {
                    out.push(' ');
                }
                out.push_str(word);
            }
            Sign('*') => out.push_str(if out.ends_with('*') { "*" } else { " *" }),
            Sign(sign) => out.push(*sign),
            other => panic!("not known: {other:?}"),
        }
    }
    out
}
