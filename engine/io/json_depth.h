// A bound on JSON before it is parsed.
#pragma once

#include <string_view>

namespace gs {

/// Brackets outside strings never nest deeper than max_depth: keeps a parser from building a tower of a million arrays. Says nothing about
/// whether the text is JSON.
bool is_shallow_json(std::string_view text, int max_depth);

}  // namespace gs
