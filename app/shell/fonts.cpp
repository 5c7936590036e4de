#include "app/shell/fonts.h"

#include <filesystem>

#include "app/base/paths.h"

namespace app {

// Font Awesome's icons sit in Unicode's private range, where DejaVu has glyphs of its own: each font is kept to its part.
static constexpr ImWchar kPrivateUse[] = {0xe000, 0xf8ff, 0};
static constexpr ImWchar kAllButPrivateUse[] = {0x1, 0xdfff, 0xf900, 0x10ffff, 0};

static gs::Result<ImFont*> add_font(const char* file, const ImFontConfig& config) {
    const std::filesystem::path path = asset_path(std::string("fonts/") + file);
    std::error_code ignored;
    // Asked first: ImGui asserts on a missing file.
    ImFont* font =
        std::filesystem::is_regular_file(path, ignored) ? ImGui::GetIO().Fonts->AddFontFromFileTTF(path.c_str(), 0, &config) : nullptr;
    if (font) return font;
    return gs::Error{gs::ErrorKind::kInput, "font_missing", "Cannot load the font " + path.string(), "the file is missing or not a font",
                     "Set GATESCOPE_ASSETS to the assets folder of Gatescope"};
}

static gs::Result<ImFont*> add_with_symbols(const char* file) {
    GS_TRY(ImFont * font, add_font(file, {}));
    ImFontConfig symbols;
    symbols.MergeMode = true;
    symbols.GlyphExcludeRanges = kPrivateUse;
    GS_TRY([[maybe_unused]] ImFont * with_symbols, add_font("DejaVuSans.ttf", symbols));
    ImFontConfig icons;
    icons.MergeMode = true;
    icons.GlyphExcludeRanges = kAllButPrivateUse;
    icons.SizePixels = 16;                                      // what the offset is of
    icons.GlyphOffset = {0, 1};
    icons.SizePixels = 13;                                 // any: the font that it is merged into has none, and ImGui asserts that there is one
    GS_TRY([[maybe_unused]] ImFont * with_icons, add_font("FontAwesome6-Solid.otf", icons));
    return font;
}

gs::Result<Fonts> load_fonts() {
    Fonts fonts;
    GS_TRY(fonts.text, add_with_symbols("Roboto-Regular.ttf"));
    GS_TRY(fonts.mono, add_with_symbols("Inconsolata-Medium.ttf"));
    return fonts;
}

}  // namespace app
