// "More" of the top bar: how the next token is chosen, and how many.
#pragma once

#include "app/views/view.h"

namespace app {

void sampler_controls(ViewContext& context);

}  // namespace app
