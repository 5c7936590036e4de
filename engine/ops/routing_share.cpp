#include "engine/ops/routing_share.h"

#include "engine/ops/ops.h"

namespace gs {

Result<std::unique_ptr<RoutingShare>> Ops::share_routing(const std::shared_ptr<RoutingViewer>&, const SharedLayout&) {
    return Error{ErrorKind::kDevice, "not_shared", "Routing is not shared with the window", "the engine runs on the processor", ""};
}

}  // namespace gs
