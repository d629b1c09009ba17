#!/bin/bash
# old-vulkan-headers.sh GGML_VULKAN_CPP: makes the file compile with Debian 12's Vulkan headers. They lack
# VK_EXT_layer_settings: leaves out the block that only switches validation on.
set -euo pipefail

sed -i \
    -e '/VkBool32 enable_best_practice = layer_settings;/,/vk::LayerSettingsCreateInfoEXT layer_setting_info(settings);/d' \
    -e 's/layers, extensions, &layer_setting_info);/layers, extensions);/' \
    "$1"
