// "More" of the top bar: how the next token is chosen, and how many.
#pragma once

#include "app/views/view.h"

namespace app {

/// A button that opens the popup.
void sampler_button(ViewContext& context);

}  // namespace app
