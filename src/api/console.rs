//! The console: a page to watch agents, to read past calls, and to try an agent.

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::body::Path;
use super::error::ApiError;
use super::page;
use super::wire::ErrorBody;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(module))
}

/// A page to watch and try agents
///
/// It asks for an API key, and does all that it does with it, by these calls.
#[utoipa::path(
    get,
    path = "/console",
    operation_id = "consolePage",
    tag = "agents",
    responses((status = 200, description = "The page.", body = String,
        content_type = "text/html")),
)]
async fn page() -> Response {
    page::talking(PAGE)
}

/// A script of that page
#[utoipa::path(
    get,
    path = "/assets/console/{module}",
    operation_id = "consoleScript",
    tag = "agents",
    params(("module" = String, Path, description = "The name of an ES module.",
        example = "console.js")),
    responses(
        (status = 200, description = "The module.", body = String,
            content_type = "text/javascript"),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such module."),
    ),
)]
async fn module(Path(module): Path<String>) -> Result<Response, ApiError> {
    let found = MODULES.iter().find(|(name, _)| *name == module);
    let (_, text) = found.ok_or_else(|| ApiError::not_found("the page has no such module"))?;
    Ok(page::script(text))
}

const PAGE: &str = include_str!("../../assets/console.html");

/// The modules of the page, by the names under which they import each other.
const MODULES: [(&str, &str); 9] = [
    ("console.js", include_str!("../../assets/console/console.js")),
    ("archive.js", include_str!("../../assets/console/archive.js")),
    ("call.js", include_str!("../../assets/console/call.js")),
    ("dom.js", include_str!("../../assets/console/dom.js")),
    ("gateway.js", include_str!("../../assets/console/gateway.js")),
    ("stages.js", include_str!("../../assets/console/stages.js")),
    ("talk.js", include_str!("../../assets/console/talk.js")),
    ("timeline.js", include_str!("../../assets/console/timeline.js")),
    ("view.js", include_str!("../../assets/console/view.js")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_that_is_imported_is_served() {
        let imports = |text: &'static str| {
            let lines = text.lines().filter(|line| line.contains(" from \""));
            lines.filter_map(|line| line.rsplit('"').nth(1)).collect::<Vec<_>>()
        };
        for (name, text) in MODULES {
            for import in imports(text).into_iter().filter(|path| path.starts_with("./")) {
                let is_there = MODULES.iter().any(|(other, _)| import == format!("./{other}"));
                assert!(is_there, "{name} imports {import}");
            }
        }
        assert!(PAGE.contains("/assets/console/console.js"));
        assert!(!PAGE.contains("onclick="), "the policy forbids inline scripts");
    }
}
