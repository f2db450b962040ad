use crate::error::Error;

/// One step of the way down.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Whether it leads to all depths below, not only to the next one.
    pub(super) deep: bool,
    name: Name,
}

#[derive(Debug, Clone)]
enum Name {
    Any,
    /// This one and no other.
    Exactly(String),
    Like(glob::Pattern),
}

impl Step {
    pub(super) fn fits(&self, name: &str) -> bool {
        match &self.name {
            Name::Any => true,
            Name::Exactly(wanted) => wanted == name,
            Name::Like(pattern) => pattern.matches(name),
        }
    }
}

/// A path with wildcards.
#[derive(Debug, Clone)]
pub(super) struct PathPattern {
    /// Whether it begins at the root folder.
    pub(super) absolute: bool,
    pub(super) steps: Vec<Step>,
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut steps = Vec::new();
        let mut deep = false;
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            let name = match part {
                "..." => {
                    deep = true;
                    continue;
                }
                ".." => {
                    return Err(Error::invalid_input(format!(
                        "the path \"{text}\" goes up with \"..\": write it from the root folder"
                    )));
                }
                _ if part.contains(['*', '?', '[']) => Name::Like(glob::Pattern::new(part).map_err(|e| {
                    Error::invalid_input(format!("\"{part}\" in the path \"{text}\" is no pattern: {e}"))
                })?),
                _ => Name::Exactly(part.to_owned()),
            };
            steps.push(Step { deep: std::mem::take(&mut deep), name });
        }
        if deep {
            steps.push(Step { deep, name: Name::Any });
        }
        if steps.is_empty() && !text.starts_with('/') {
            return Err(Error::invalid_input("an empty path names nothing; \"/\" is the root folder"));
        }
        Ok(Self { absolute: text.starts_with('/'), steps })
    }

    /// The path without wildcards, as the SearchIndex takes it.
    pub(super) fn exact(&self) -> Option<String> {
        let name = |step: &Step| match &step.name {
            Name::Exactly(name) if !step.deep => Some(name.clone()),
            _ => None,
        };
        let names: Option<Vec<String>> = self.steps.iter().map(name).collect();
        names.filter(|_| self.absolute).map(|names| names.join("/"))
    }
}
