# shellcheck shell=bash
# Makes the system user USER_NAME with HOME_DIR and COMMENT, in each of GROUPS_WANTED.
# shellcheck disable=SC2154
if ! id -u "$USER_NAME" >/dev/null 2>&1; then
  useradd --system --user-group --shell /usr/sbin/nologin --home-dir "$HOME_DIR" --no-create-home \
    --comment "$COMMENT" "$USER_NAME"
fi
for group in "${GROUPS_WANTED[@]}"; do usermod -aG "$group" "$USER_NAME"; done
