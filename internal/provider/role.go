package provider

import (
	"strings"

	"github.com/posthorn/posthorn/internal/mail"
)

// Listed is one folder of a LIST answer, as far as roles go.
type Listed struct {
	Name      string // decoded full path
	Delimiter string
	Attrs     []string
}

// RoleOf tells the role of a single folder: by its SPECIAL-USE attribute (RFC 6154), else INBOX in any case, else by
// the plain names that servers without special use give. Prefer Roles when the whole listing is known.
func RoleOf(name string, attrs []string) mail.Role {
	if r := byAttr(attrs); r != "" {
		return r
	}
	if strings.EqualFold(name, "INBOX") {
		return mail.RoleInbox
	}
	if noSelect(attrs) {
		return ""
	}
	return exactNames()[leaf(name, "")]
}

// Roles tells the roles of a whole listing, in its order. Attributes count first; a role that no attribute gave goes
// to the folder with a plain name for it, and then to one with a localised name, but only to a single candidate: of
// two, neither is guessed. INBOX is the inbox in any case, whatever its attributes say.
func Roles(list []Listed) []mail.Role {
	out := make([]mail.Role, len(list))
	taken := map[mail.Role]bool{}
	for i, f := range list {
		if strings.EqualFold(f.Name, "INBOX") {
			out[i] = mail.RoleInbox
		} else {
			out[i] = byAttr(f.Attrs)
		}
		taken[out[i]] = true
	}
	for _, names := range []map[string]mail.Role{exactNames(), localNames()} {
		found := map[mail.Role][]int{}
		for i, f := range list {
			if out[i] != "" || noSelect(f.Attrs) {
				continue
			}
			if r := names[leaf(f.Name, f.Delimiter)]; r != "" && !taken[r] {
				found[r] = append(found[r], i)
			}
		}
		for r, at := range found {
			if len(at) > 1 { // a folder at the top beats one of the same name inside another
				top := at[:0:0]
				for _, i := range at {
					if d := depth(list[i]); d == 0 {
						top = append(top, i)
					}
				}
				at = top
			}
			if len(at) == 1 {
				out[at[0]], taken[r] = r, true
			}
		}
	}
	return out
}

// byAttr reads the SPECIAL-USE attributes, and \Spam, which some servers send for \Junk.
func byAttr(attrs []string) mail.Role {
	for _, a := range attrs {
		switch strings.ToLower(a) {
		case `\inbox`:
			return mail.RoleInbox
		case `\sent`:
			return mail.RoleSent
		case `\drafts`:
			return mail.RoleDrafts
		case `\trash`:
			return mail.RoleTrash
		case `\junk`, `\spam`:
			return mail.RoleJunk
		case `\archive`:
			return mail.RoleArchive
		case `\all`, `\allmail`:
			return mail.RoleAll
		case `\flagged`, `\starred`:
			return mail.RoleFlagged
		}
	}
	return ""
}

func noSelect(attrs []string) bool {
	for _, a := range attrs {
		if strings.EqualFold(a, `\Noselect`) || strings.EqualFold(a, `\NonExistent`) {
			return true
		}
	}
	return false
}

// bare strips the namespaces under which servers put everything: INBOX and [Gmail].
func bare(name, delim string) string {
	delims := []string{delim}
	if delim == "" {
		delims = []string{"/", "."}
	}
	for _, d := range delims {
		for _, prefix := range []string{"inbox", "[gmail]", "[google mail]"} {
			if n := len(prefix) + len(d); len(name) > n && strings.EqualFold(name[:len(prefix)], prefix) && name[len(prefix):n] == d {
				return name[n:]
			}
		}
	}
	return name
}

// leaf is the last part of a path in lower case; without a known delimiter the whole of it below the namespace.
func leaf(name, delim string) string {
	name = bare(name, delim)
	if i := strings.LastIndex(name, delim); delim != "" && i >= 0 {
		name = name[i+len(delim):]
	}
	return strings.ToLower(strings.TrimSpace(name))
}

func depth(f Listed) int {
	if f.Delimiter == "" {
		return 0
	}
	return strings.Count(bare(f.Name, f.Delimiter), f.Delimiter)
}

// exactNames are the English names that server software and providers give by themselves.
func exactNames() map[string]mail.Role {
	return map[string]mail.Role{
		"sent": mail.RoleSent, "sent items": mail.RoleSent, "sent messages": mail.RoleSent, "sent mail": mail.RoleSent, "sent-mail": mail.RoleSent,
		"drafts": mail.RoleDrafts, "draft": mail.RoleDrafts,
		"trash": mail.RoleTrash, "deleted items": mail.RoleTrash, "deleted messages": mail.RoleTrash, "bin": mail.RoleTrash,
		"junk": mail.RoleJunk, "spam": mail.RoleJunk, "junk e-mail": mail.RoleJunk, "junk email": mail.RoleJunk, "junk mail": mail.RoleJunk, "bulk mail": mail.RoleJunk, "bulk": mail.RoleJunk,
		"archive": mail.RoleArchive, "archives": mail.RoleArchive,
		"all mail": mail.RoleAll, "starred": mail.RoleFlagged,
	}
}

// localNames are what mail programs and webmails of other languages create.
func localNames() map[string]mail.Role {
	out := map[string]mail.Role{}
	for r, names := range map[mail.Role]string{
		mail.RoleSent: "gesendet|gesendete objekte|gesendete elemente|gesendete nachrichten|éléments envoyés|envoyés|messages envoyés|objets envoyés|enviados|elementos enviados|mensajes enviados|" +
			"itens enviados|mensagens enviadas|posta inviata|inviata|inviati|elementi inviati|verzonden|verzonden items|verzonden berichten|wysłane|elementy wysłane|odeslané|odeslaná pošta|odoslané|" +
			"skickat|skickade|skickade objekt|sendt|sendte elementer|sendt post|lähetetyt|отправленные|исходящие|надіслані|gönderilmiş öğeler|gönderilenler|elküldött elemek|trimise|已发送|已发送邮件|已傳送|寄件備份|送信済み|送信済みメール|送信済みアイテム|보낸편지함|보낸메일함|보낸 편지함",
		mail.RoleDrafts: "entwürfe|entwurf|brouillons|brouillon|borradores|borrador|rascunhos|bozze|bozza|concepten|szkice|wersje robocze|kopie robocze|koncepty|rozepsané|utkast|kladder|luonnokset|" +
			"черновики|чернетки|taslaklar|piszkozatok|ciorne|草稿|草稿箱|草稿夾|下書き|임시보관함",
		mail.RoleTrash: "papierkorb|gelöscht|gelöschte objekte|gelöschte elemente|corbeille|éléments supprimés|papelera|elementos eliminados|lixeira|lixo|itens excluídos|itens eliminados|cestino|posta eliminata|" +
			"elementi eliminati|prullenbak|verwijderde items|kosz|elementy usunięte|koš|odstraněná pošta|kôš|papperskorgen|borttagna objekt|slettede elementer|slettet post|roskakori|poistetut|" +
			"удаленные|удалённые|корзина|кошик|çöp kutusu|silinmiş öğeler|kuka|törölt elemek|gunoi|coș de gunoi|已删除|已删除邮件|垃圾桶|刪除的郵件|ゴミ箱|削除済みアイテム|휴지통|지운편지함",
		mail.RoleJunk: "unerwünscht|junk-e-mail|spamverdacht|spam-verdacht|indésirables|courrier indésirable|pourriel|correo no deseado|no deseado|lixo eletrônico|lixo eletrónico|posta indesiderata|indesiderata|" +
			"ongewenst|ongewenste e-mail|ongewenste post|wiadomości-śmieci|niechciane|nevyžádaná pošta|nevyžiadaná pošta|skräppost|uønsket post|søppelpost|uønsket e-post|roskaposti|" +
			"спам|нежелательная почта|önemsiz|gereksiz e-posta|levélszemét|垃圾邮件|垃圾郵件|迷惑メール|스팸메일함|스팸편지함|스팸함",
		mail.RoleArchive: "archiv|archives|archivio|archivo|archivados|arquivo|arquivados|archief|archiwum|archív|arkiv|arkisto|архив|архів|arşiv|archívum|arhivă|归档|存档|封存|アーカイブ|보관함",
	} {
		for n := range strings.SplitSeq(names, "|") {
			out[n] = r
		}
	}
	return out
}
