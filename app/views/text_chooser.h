// Which text a measurement is made on: a bundled sample, the text of the run on screen, the user's own, a file. One choice for all panels that measure.
#pragma once

#include <string>
#include <vector>

#include "app/views/view.h"
#include "app/widgets/file_dialog.h"

namespace app {

class TextChooser {
public:
    /// The combo and what belongs to it, on one line. explanation: what the text is for.
    void draw(ViewContext& context, const char* explanation);
    /// The text itself; empty where there is none, and kNoText is then what to say.
    std::string text(const ViewContext& context) const;
    static constexpr const char* kNoText = "There is no text: choose a sample, or write your own.";
    /// "prose", "text of the run", "own text", a file's name.
    std::string name(const ViewContext& context) const;

private:
    void open_file(ViewContext& context);
    void edit_popup(ViewContext& context);

    std::vector<std::string> m_samples;
    FileDialog m_dialog;
};

}  // namespace app
