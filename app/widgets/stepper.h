// "layer 12 of 30" between two arrows: goes through places that have numbers, one at a time.
#pragma once

#include <string>

namespace app {

struct StepperTexts {
    std::string now;                       ///< where it stands
    const char* widest;                    ///< the widest text that `now` may be: keeps the arrows in their places
    const char *before, *after;            ///< tooltips of the arrows
};
/// Moves `index` within 0..n-1. True when it changed.
bool stepper(const char* id, const StepperTexts& texts, int n, int& index);
float stepper_width(const char* widest);

}  // namespace app
