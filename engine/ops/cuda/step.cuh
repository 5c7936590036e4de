// What changes from one step to the next (Ops::step), in device memory, so that kernels of a captured graph follow it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace gs::cuda {

constexpr int kMostStepRows = 8;       ///< longer passes are no steps: their kernels' grids depend on more than this

struct StepBlock {
    int32_t first_position;
    int32_t ids[kMostStepRows];
};

/// A position as kernels take it: a value, or the place in device memory where it is found when they run.
struct Position {
    int value = 0;
    const int32_t* place = nullptr;
    __device__ int get() const { return place ? *place : value; }
};

}  // namespace gs::cuda
