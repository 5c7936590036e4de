// Starting a measurement, stopping it, and how far it is: the same in every panel that measures.
#pragma once

#include "app/views/view.h"

namespace app {

struct JobButton {
    gs::Activity activity;                 ///< what the session says while the work runs
    const char* id;                        ///< "###measure"
    const char* name;                      ///< "Measure"
    const char* explanation;               ///< what it does, or what is missing where `ready` is false
    bool ready = true;                     ///< what it needs besides a loaded model is there
    bool prominent = true;
};
/// A button with the name, or, while the work runs, one that stops it. True when the work is to start.
bool job_button(ViewContext& context, const JobButton& job);
/// A bar on the line where it fits; nothing while the work does not run.
void job_progress(const ViewContext& context, gs::Activity activity);

}  // namespace app
