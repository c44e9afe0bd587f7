// go get github.com/golang-jwt/jwt/v5 github.com/go-resty/resty/v2 github.com/standard-webhooks/standard-webhooks/libraries
package reelay

import (
	"net/http"
	"os"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/golang-jwt/jwt/v5"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var hook, _ = webhooks.NewWebhook(os.Getenv("REELAY_NOTIFICATION_SECRET"))
var api = resty.New().SetBaseURL(os.Getenv("REELAY_API_URL"))

func token(user, audience string) string {
	claims := jwt.MapClaims{"sub": user, "aud": audience, "iat": time.Now().Unix(), "exp": time.Now().Unix() + 300}
	signed, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(os.Getenv("REELAY_APP_SECRET")))
	return signed
}
func ConnectURL(user string) string { // the target of the button "Connect Zoom"
	return os.Getenv("REELAY_CONNECT_URL") + "?token=" + token(user, "reelay:connect")
}
func call(user string) *resty.Request { return api.R().SetAuthToken(token(user, "reelay:api")) }
func Confirm(user, claim string) (*resty.Response, error) { // user: in whose session `zoom_link` arrived
	return call(user).SetBody(map[string]string{"claim": claim}).Post("/links/confirm")
}
func Recordings(user string) (*resty.Response, error) { return call(user).Get("/recordings?limit=100") }
func Verify(headers http.Header, body []byte) error   { return hook.Verify(body, headers) } // body: as it arrived
